// The places where parts of the page put themselves. A new page is a file `pages/NAME.page.ts`, a
// new tab of a device `device/tabs/NAME.tab.ts`, a new card of a group `group/NAME.section.ts`; the
// build finds them. What is heavy is fetched when it is opened: `show: lazy(() => import(…))`.

import type { ComponentType } from "preact";

import type { Device, Group } from "../control/wire.ts";

export interface PageProps {
  /** What follows the page's own name in the address. */
  rest: string[];
  query: URLSearchParams;
}

export interface Page {
  /** First part of the address. */
  path: string;
  title: string;
  /** Place in the navigation; without one the page is reached from others. */
  nav?: { icon: string; order: number; key: string };
  /** Whether this account has anything to see there. */
  visible?(): boolean;
  show: ComponentType<PageProps>;
}

export interface DeviceTabProps {
  device: Device;
  /** What this account may do with the device. */
  rights: number;
}

export interface DeviceTab {
  path: string;
  title: string;
  order: number;
  visible(device: Device, rights: number): boolean;
  show: ComponentType<DeviceTabProps>;
}

export interface GroupSectionProps {
  group: Group;
  rights: number;
}

export interface GroupSection {
  order: number;
  visible(group: Group, rights: number): boolean;
  show: ComponentType<GroupSectionProps>;
}
