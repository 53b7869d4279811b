// What the build makes of `glob:` imports: the default exports of all files that match; and of
// `worker:` imports: where the worker's script is served.

declare module "worker:*" {
  const address: string;
  export default address;
}

declare module "glob:./*.page.ts" {
  const pages: import("../app/registry.ts").Page[];
  export default pages;
}

declare module "glob:./tabs/*.tab.ts" {
  const tabs: import("../app/registry.ts").DeviceTab[];
  export default tabs;
}

declare module "glob:./*.section.ts" {
  const sections: import("../app/registry.ts").GroupSection[];
  export default sections;
}

declare module "*.css";
