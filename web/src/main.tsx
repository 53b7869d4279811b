// Where the page begins.

import { render } from "preact";

import { applyPrefs } from "./app/prefs.ts";
import { follow } from "./app/router.ts";
import { listenForKeys } from "./app/keys.ts";
import { listenForNotices } from "./app/notices.tsx";
import { App } from "./app/shell.tsx";
import { begin } from "./app/state.ts";

applyPrefs();
follow();
listenForKeys();
listenForNotices();
void begin();
const root = document.getElementById("app") as HTMLElement;
root.replaceChildren();
render(<App />, root);
