// Reads firmware with MeshCentral's own libraries, unmodified, and prints what they make of it.
// Arguments: folder of the installed package, address, user, password, and what is to be read as JSON: a
// list of [verb, class, method, parameters], the last two for calls only.
// Prints one JSON object: the verb and class (and method) to a status, or to the content.
'use strict';
const path = require('path');
const [folder, address, user, password, wanted] = process.argv.slice(2);
const library = (name) => require(path.join(folder, 'amt', name));

const comm = library('amt-wsman-comm.js')(address, 16992, user, password, 0);
const stack = library('amt.js')(library('amt-wsman.js')(comm));
const found = {};
const list = JSON.parse(wanted);

const next = () => {
  const [verb, name, method, parameters] = list.shift() ?? [];
  if (verb === undefined) { process.stdout.write(JSON.stringify(found), () => process.exit(0)); return; }
  const keep = (content, status) => {
    found[[verb, name, method].filter((part) => part).join(' ')] = status === 200 ? content : { status };
    next();
  };
  if (verb === 'Get') {
    stack.Get(name, (_, __, response, status) => keep(response?.Body, status));
  } else if (verb === 'List') {
    stack.Enum(name, (_, __, items, status) => keep(items, status));
  } else if (verb === 'Call') {
    stack.Exec(name, method, parameters, (_, __, response, status) => {
      delete response?.Body?.ReturnValueStr;
      keep(response?.Body, status);
    });
  } else if (name === 'AMT_MessageLog') {
    stack.GetMessageLog((_, records, __, status) => keep(records, status));
  } else {
    stack.GetAuditLog((_, records, status) => keep(records, status));
  }
};
next();
