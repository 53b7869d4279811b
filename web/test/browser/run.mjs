// Runs the scenarios named: `node test/browser/run.mjs demo two_thousand_devices_are_smooth`.

const [file, ...names] = process.argv.slice(2);
const scenarios = await import(`./${file}.mjs`);
for (const name of names.length > 0 ? names : Object.keys(scenarios)) {
  try {
    await scenarios[name]();
    console.log(`ok ${name}`);
  } catch (error) {
    console.error(`FAILED ${name}\n${error.stack}`);
    process.exit(1);
  }
}
process.exit(0);
