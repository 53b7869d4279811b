// How the terminal writes its styles where the page's policy allows none in the markup.
//
// xterm.js makes `<style>` elements and style attributes, and asks the global document for them
// whatever document it is given. From here on both turn into what the policy allows: style sheets
// and properties set by script. Nothing else in the page makes either.

const make = Document.prototype.createElement;

/** Has to be called before the first terminal is made; again does nothing. */
export function allowStyles(): void {
  if (Object.hasOwn(document, "createElement")) return;
  // Even an empty style element is a breach, so another stands in for it.
  const createElement = (tag: string, options?: ElementCreationOptions) =>
    tag === "style" ? sheet(make.call(document, "template")) : make.call(document, tag, options);
  Object.assign(document, { createElement });
  Object.assign(HTMLSpanElement.prototype, { setAttribute });
}

function setAttribute(this: HTMLElement, name: string, value: string): void {
  if (name === "style") this.style.cssText = value;
  else Element.prototype.setAttribute.call(this, name, value);
}

/** What is written into the element goes into a sheet that is there until the element is removed. */
function sheet(element: HTMLElement): HTMLElement {
  const sheet = new CSSStyleSheet();
  document.adoptedStyleSheets = [...document.adoptedStyleSheets, sheet];
  Object.defineProperty(element, "textContent", { set: (css: string) => sheet.replaceSync(css) });
  element.remove = () => {
    document.adoptedStyleSheets = document.adoptedStyleSheets.filter((other) => other !== sheet);
    Element.prototype.remove.call(element);
  };
  return element;
}
