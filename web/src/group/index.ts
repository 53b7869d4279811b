// All cards of a group's page, as the build finds them.

import sections from "glob:./*.section.ts";

export const groupSections = [...sections].sort((a, b) => a.order - b.order);
