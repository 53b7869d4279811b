// All pages, as the build finds them.

import pages from "glob:./*.page.ts";

export { pages };
