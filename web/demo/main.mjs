// Builds the page and shows it with an invented installation: `npm run demo [devices]`.

import { join } from "node:path";
import { fileURLToPath } from "node:url";

import { bundle } from "../build.mjs";
import { serve } from "./server.mjs";

const out = join(fileURLToPath(new URL(".", import.meta.url)), "out");
await bundle({ out, dev: true });
const { url } = await serve({ dist: out, port: 8090, devices: Number(process.argv[2] ?? 0) });
console.log(`The demonstration is at ${url}`);
