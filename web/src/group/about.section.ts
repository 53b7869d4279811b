import type { GroupSection } from "../app/registry.ts";
import About from "./about.tsx";

export default {
  order: 10,
  visible: () => true,
  show: About,
} satisfies GroupSection;
