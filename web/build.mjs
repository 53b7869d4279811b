// Makes the bundle: src/ in, dist/ (or the folder named) out.
//
//   node build.mjs [--out DIR] [--dev]
//
// Every file but the page itself carries the hash of its content in its name and may be cached for
// ever. Beside each file lies its gzip form, which the program embeds. --dev leaves the names of
// entries readable and compresses nothing.

import { createHash } from "node:crypto";
import { mkdir, readFile, readdir, rename, rm, writeFile } from "node:fs/promises";
import { basename, dirname, join, resolve } from "node:path";
import { fileURLToPath } from "node:url";
import { gzipSync } from "node:zlib";

import { build } from "esbuild";

const here = dirname(fileURLToPath(import.meta.url));

/** `import list from "glob:./tabs/*.tab.ts"`: the default exports of all files that match, so that
 * a new page, tab or card is a new file and nothing else. */
const glob = {
  name: "glob",
  setup(builder) {
    builder.onResolve({ filter: /^glob:/ }, ({ path, resolveDir }) => ({
      namespace: "glob",
      path: resolve(resolveDir, path.slice("glob:".length)),
    }));
    builder.onLoad({ filter: /.*/, namespace: "glob" }, async ({ path }) => {
      const folder = dirname(path);
      const ending = basename(path).replace(/^\*/, "");
      const names = (await readdir(folder)).filter((name) => name.endsWith(ending)).sort();
      const imports = names.map((name, n) => `import f${n} from ${JSON.stringify(`./${name}`)};`);
      const list = names.map((_, n) => `f${n}`).join(", ");
      return { contents: `${imports.join("\n")}\nexport default [${list}];`, resolveDir: folder };
    });
  },
};

/** `import address from "worker:./name.ts"`: where the script of a worker is. It is bundled by itself:
 * a worker shares nothing with the page. */
const worker = (out, dev) => ({
  name: "worker",
  setup(builder) {
    builder.onResolve({ filter: /^worker:/ }, ({ path, resolveDir }) => ({
      namespace: "worker",
      path: resolve(resolveDir, path.slice("worker:".length)),
    }));
    builder.onLoad({ filter: /.*/, namespace: "worker" }, async ({ path }) => {
      const made = await build({
        ...COMMON,
        entryPoints: [path],
        minify: !dev,
        write: false,
        format: "iife",
      });
      const content = made.outputFiles[0].contents;
      const name = `${basename(path, ".ts")}-${hashed(content)}.js`;
      await mkdir(join(out, "assets"), { recursive: true });
      await writeFile(join(out, "assets", name), content);
      return { contents: `export default ${JSON.stringify(`assets/${name}`)};` };
    });
  },
});

/** What the page and its workers have in common. */
const COMMON = {
  absWorkingDir: here,
  bundle: true,
  target: ["es2022", "chrome123", "firefox121", "safari17.5"],
  legalComments: "none",
  charset: "utf8",
  logLevel: "warning",
};

/** The pages: the one for people with an account, and those of guests and of chats. */
const ENTRIES = { app: "src/main.tsx", guest: "src/guest/main.tsx", chat: "src/chat/main.tsx" };

export async function bundle({ out, dev = false }) {
  const made = `${out}.new`;
  await rm(made, { recursive: true, force: true });
  await mkdir(made, { recursive: true });
  const result = await build({
    ...COMMON,
    entryPoints: { ...ENTRIES, style: "src/styles/index.css" },
    outdir: join(made, "assets"),
    entryNames: dev ? "[name]" : "[name]-[hash]",
    chunkNames: "[name]-[hash]",
    splitting: true,
    format: "esm",
    jsx: "automatic",
    jsxImportSource: "preact",
    minify: !dev,
    sourcemap: dev ? "inline" : false,
    metafile: true,
    plugins: [glob, worker(made, dev)],
  });

  const outputs = Object.entries(result.metafile.outputs);
  const file = (entry) => {
    const found = outputs.find(([, output]) => output.entryPoint === entry);
    return `assets/${basename(found[0])}`;
  };
  const icon = await asset(made, "src/favicon.svg", dev);
  const sprite = (await readFile(join(here, "src/icons.svg"), "utf8")).replace(/<!--.*?-->|\n\s*/gs, "");
  const frame = (await readFile(join(here, "src/index.html"), "utf8"))
    .replace("{{style}}", file("src/styles/index.css"))
    .replace("{{icon}}", icon)
    .replace("{{sprite}}", sprite);
  const initial = {};
  for (const [name, source] of Object.entries(ENTRIES).reverse()) {
    const script = file(source);
    const others = imported(result.metafile.outputs, outputs.find(([, o]) => o.entryPoint === source)[0]).map(
      (path) => `assets/${basename(path)}`,
    );
    const preload = others.map((path) => `<link rel="modulepreload" href="${path}">`).join("\n");
    const page = frame.replace("{{preload}}", preload).replace("{{script}}", script);
    // The one that tells how old the bundle is comes last.
    await writeFile(join(made, name === "app" ? "index.html" : `${name}.html`), page);
    initial[name] = [script, ...others];
  }
  if (!dev) await compress(made);
  await rm(out, { recursive: true, force: true });
  await rename(made, out);
  return { initial: initial.app, pages: initial };
}

/** Outputs that `name` imports at once, those they import too. */
function imported(outputs, name, seen = new Set()) {
  for (const { path, kind } of outputs[name].imports) {
    if (kind !== "import-statement" || seen.has(path)) continue;
    seen.add(path);
    imported(outputs, path, seen);
  }
  return [...seen];
}

function hashed(content) {
  return createHash("sha256").update(content).digest("hex").slice(0, 8).toUpperCase();
}

/** Copies a file with its hash in its name; returns where it is served. */
async function asset(out, source, dev) {
  const content = await readFile(join(here, source));
  const [stem, ending] = basename(source).split(".");
  const name = dev ? basename(source) : `${stem}-${hashed(content)}.${ending}`;
  await writeFile(join(out, "assets", name), content);
  return `assets/${name}`;
}

async function compress(out) {
  const names = await readdir(join(out, "assets"));
  const pages = (await readdir(out)).filter((name) => name.endsWith(".html"));
  for (const path of [...pages, ...names.map((name) => `assets/${name}`)]) {
    const content = await readFile(join(out, path));
    await writeFile(join(out, `${path}.gz`), gzipSync(content, { level: 9 }));
  }
}

if (process.argv[1] === fileURLToPath(import.meta.url)) {
  const argument = process.argv.indexOf("--out");
  const out = argument < 0 ? join(here, "dist") : resolve(process.argv[argument + 1]);
  await bundle({ out, dev: process.argv.includes("--dev") });
}
