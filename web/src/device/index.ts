// All tabs of a device, as the build finds them.

import tabs from "glob:./tabs/*.tab.ts";

export const deviceTabs = [...tabs].sort((a, b) => a.order - b.order);
