import type { Page } from "../app/registry.ts";
import UserPage from "./user.tsx";

export default {
  path: "user",
  title: "Account",
  show: UserPage,
} satisfies Page;
