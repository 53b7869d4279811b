// Compiles and runs a set-up script with MeshCentral's own script engine, unmodified, against firmware
// that says yes to everything. Arguments: folder of the installed package, script file.
// Prints one JSON line: { same, calls, printed }; `same`: its compiler makes of the text what is in
// the file.
'use strict';
const fs = require('fs');
const path = require('path');
const vm = require('vm');
const [folder, file] = process.argv.slice(2);

const byte = (value, shift) => (value >>> shift) & 255;
const page = {
  console,
  window: { atob, btoa },
  httpErrorTable: { 200: 'OK' },
  ReadShort: (v, p) => v.charCodeAt(p) * 256 + v.charCodeAt(p + 1),
  ReadInt: (v, p) => page.ReadShort(v, p) * 65536 + page.ReadShort(v, p + 2),
  ReadSInt: (v, p) => page.ReadInt(v, p) | 0,
  ShortToStr: (v) => String.fromCharCode(byte(v, 8), byte(v, 0)),
  IntToStr: (v) => String.fromCharCode(byte(v, 24), byte(v, 16), byte(v, 8), byte(v, 0)),
};
// Parts of the page the engine names and this script does not use.
for (const name of ('passwordcheck hex2rstr rstr2hex random rstr_md5 MakeToArray ReadShortX ReadIntX '
  + 'ShortToStrX IntToStrX PullSystemStatus PullEventLog PullAuditLog PullCertificates PullWatchdog '
  + 'PullSystemDefense PullHardware PullUserInfo PullRemoteAccess script_HighlightBlock disconnect').split(' ')) {
  page[name] = () => undefined;
}
vm.createContext(page);
vm.runInContext(fs.readFileSync(path.join(folder, 'public/scripts/amt-script-0.2.0.js'), 'utf8'), page);

const script = JSON.parse(fs.readFileSync(file, 'utf8'));
const same = btoa(page.script_compile(script.scriptText)) === script.mescript;

const calls = [];
let servers = [{ Name: 'Old server' }];
const firmware = {
  BatchEnum(name, names, back, runner) {
    const found = {};
    for (const wanted of names) {
      if (wanted[0] === '*') found[wanted.slice(1)] = { response: { ElementName: 'surroundings' } };
      else found[wanted] = { responses: servers };
    }
    back(this, name, found, 200, runner);
  },
  Delete(name, selectors, back) {
    calls.push(['delete', name, selectors]);
    if (name === 'AMT_ManagementPresenceRemoteSAP') servers = [];
    back(this, name, {}, 200);
  },
  Put(name, object, back) {
    calls.push(['put', name, object]);
    back(this, name, {}, 200);
  },
  Exec(name, method, args, back) {
    calls.push([method, name, args]);
    if (method === 'AddMpServer') servers = [{ Name: 'New server' }];
    back(this, name, { Body: { ReturnValue: 0, ReturnValueStr: 'SUCCESS' } }, 200);
  },
};
const runner = page.script_setup(atob(script.mescript), {});
const printed = [];
runner.amtstack = firmware;
runner.onConsole = (text) => printed.push(text);
for (let steps = 0; runner.state === 1 && steps < 1000; steps++) runner.step();
const { _exception: exception } = runner.variables;
console.log(JSON.stringify({ same, state: runner.state, exception, calls, printed }));
