// What is fetched together when anything of Intel AMT is first shown: many small files would be more
// requests, also for those who never see it.

export { askPower } from "./bulk.tsx";
export { History } from "./history.tsx";
export { default as Page } from "../pages/amt.tsx";
export { default as Policy } from "./policy.tsx";
export { default as Tab } from "./tab.tsx";
