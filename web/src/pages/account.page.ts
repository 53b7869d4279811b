import type { Page } from "../app/registry.ts";
import Account from "./account.tsx";

export default {
  path: "account",
  title: "My account",
  show: Account,
} satisfies Page;
