import type { Page } from "../app/registry.ts";
import Add from "./add.tsx";

export default {
  path: "add",
  title: "Add a device",
  show: Add,
} satisfies Page;
