// Builds ../dist: the script and the style sheet of the Playground, its icon and the licences of what is in them, each
// gzipped. dist is committed, so that building the server needs neither npm nor a network.
import { build } from 'esbuild';
import { mkdir, readFile, readdir, rm, writeFile } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { gzipSync } from 'node:zlib';

const here = dirname(fileURLToPath(import.meta.url));
const dist = join(here, '..', 'dist');

// GraphiQL's style sheet carries some 340 kB of fonts as data: URLs. The page uses the system's fonts instead.
const withoutFonts = {
  name: 'without-fonts',
  setup({ onLoad }) {
    onLoad({ filter: /\/graphiql\/dist\/style\.css$/ }, async ({ path }) => {
      const css = await readFile(path, 'utf8');
      return { contents: css.replace(/@font-face\s*\{[^}]*\}/g, ''), loader: 'css' };
    });
  },
};

// Radix locks the scrolling of the page with a <style> element, which the page's policy forbids and which a page that
// does not scroll has no need of.
const withoutScrollLock = {
  name: 'without-scroll-lock',
  setup({ onResolve, onLoad }) {
    onResolve({ filter: /^react-style-singleton$/ }, () => ({ path: 'react-style-singleton', namespace: 'none' }));
    onLoad({ filter: /.*/, namespace: 'none' }, () => ({
      contents: 'export const styleSingleton = () => () => null;',
      loader: 'js',
    }));
  },
};

// GraphiQL derives the titles of its icons from the names of functions, which minifying shortens.
const withIconTitles = {
  name: 'with-icon-titles',
  setup({ onLoad }) {
    onLoad({ filter: /\/@graphiql\/react\/dist\/icons\/index\.js$/ }, async ({ path }) => {
      const source = await readFile(path, 'utf8');
      const contents = source
        .replace(/generateIcon\(Svg(\w+)\)/g, 'generateIcon(Svg$1, "$1")')
        .replace('generateIcon(RawComponent)', 'generateIcon(RawComponent, name)')
        .replace('RawComponent.name.replace("Svg", "")', 'name');
      if (!contents.includes('title = name.')) {
        throw new Error(`${path} is not what it was: see withIconTitles`);
      }
      return { contents, loader: 'js' };
    });
  },
};

const result = await build({
  absWorkingDir: here,
  entryPoints: { app: 'main.jsx' },
  outdir: 'out',
  write: false,
  metafile: true,
  bundle: true,
  minify: true,
  format: 'esm',
  target: ['chrome123', 'firefox120', 'safari17.5'],
  jsx: 'automatic',
  alias: { 'framer-motion': './reorder.jsx' },
  charset: 'utf8',
  legalComments: 'none',
  define: { 'process.env.NODE_ENV': '"production"' },
  loader: { '.svg': 'dataurl' },
  plugins: [withoutFonts, withoutScrollLock, withIconTitles],
  logLevel: 'warning',
});

const files = new Map(result.outputFiles.map((file) => [file.path.split(/[\\/]/).pop(), Buffer.from(file.contents)]));
files.set('icon.svg', await readFile(join(here, 'icon.svg')));
files.set('licenses.txt', Buffer.from(await licences(Object.keys(result.metafile.inputs))));

await rm(dist, { recursive: true, force: true });
await mkdir(dist, { recursive: true });
for (const [name, content] of [...files].sort()) {
  const packed = gzipSync(content, { level: 9 });
  packed[9] = 255; // the operating system in the gzip header: "unknown", so that every machine builds the same bytes
  await writeFile(join(dist, `${name}.gz`), packed);
  console.log(`${name}.gz ${packed.length} (${content.length})`);
}

/** The licence texts of the packages that went into the bundle, each text once. */
async function licences(inputs) {
  const folders = new Set();
  for (const input of inputs) {
    const match = /^(.*node_modules\/(?:@[^/]+\/)?[^/]+)\//.exec(input);
    if (match) {
      folders.add(match[1]);
    }
  }
  const packagesByText = new Map();
  for (const folder of [...folders].sort()) {
    const path = join(here, folder);
    const { name, version, license } = JSON.parse(await readFile(join(path, 'package.json'), 'utf8'));
    const file = (await readdir(path)).sort().find((entry) => /^licen[cs]e/i.test(entry));
    const text = file ? (await readFile(join(path, file), 'utf8')).trim() : `Licence: ${license}`;
    packagesByText.set(text, [...(packagesByText.get(text) ?? []), `${name} ${version}`]);
  }
  const sections = [...packagesByText].map(([text, packages]) => `${packages.join('\n')}\n\n${text}\n`);
  return `The Playground contains the following packages.\n\n${sections.join(`\n${'-'.repeat(80)}\n\n`)}`;
}
