// Bundles deck.js into one classic script and writes the licences of its packages beside it.
import { build } from 'esbuild';
import { readdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';

const [out] = process.argv.slice(2);
const { metafile } = await build({
  entryPoints: ['deck.js'],
  bundle: true,
  minify: true,
  format: 'iife',
  globalName: 'deck',
  target: 'es2022',
  legalComments: 'none',
  metafile: true,
  outfile: join(out, 'deck.js'),
  banner: { js: '/* Made by jobs/vendor_report.sh from npm packages; their licences are in deck.LICENSES.txt. */' },
});

const [{ inputs }] = Object.values(metafile.outputs);
const used = Object.entries(inputs).filter(([path, { bytesInOutput }]) => bytesInOutput > 0 && path.includes('node_modules/'));
const folders = new Set(used.map(([path]) => path.match(/^.*node_modules\/(@[^/]+\/)?[^/]+/)[0]));
const texts = [...folders].sort().map((folder) => {
  const { name, version, license } = JSON.parse(readFileSync(join(folder, 'package.json'), 'utf8'));
  const file = readdirSync(folder).find((entry) => /^licen[cs]e/i.test(entry));
  if (!file) throw new Error(`${name} has no licence file`);
  return `${'='.repeat(100)}\n${name} ${version} (${license})\n${'='.repeat(100)}\n\n${readFileSync(join(folder, file), 'utf8').trim()}\n`;
});
writeFileSync(join(out, 'deck.LICENSES.txt'), texts.join('\n'));
console.log(`${folders.size} packages, ${metafile.outputs[Object.keys(metafile.outputs)[0]].bytes} bytes`);
