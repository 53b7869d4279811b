// Runs MeshCentral's own IDER module, unmodified, against a redirection port. What comes before it, the
// start of the session and its digest, is done here.
// Arguments: folder of the installed package, address, user, password, disc image, floppy image.
'use strict';
const crypto = require('crypto');
const net = require('net');
const path = require('path');
const [folder, address, user, password, disc, floppy] = process.argv.slice(2);

const md5 = (...parts) => crypto.createHash('md5').update(parts.join(':')).digest('hex');
const text = (value) => Buffer.concat([Buffer.from([value.length]), Buffer.from(value)]);
const digest = (fields) => {
  const payload = Buffer.concat(fields.map(text));
  const head = Buffer.from([0x13, 0, 0, 0, 4, 0, 0, 0, 0]);
  head.writeUInt32LE(payload.length, 5);
  return Buffer.concat([head, payload]);
};
const URI = '/RedirectionService';

const module_ = path.join(folder, 'amt', 'amt-ider-module.js');
const ider = require(module_).CreateAmtRemoteIder({ debug: () => {} }, { debug: () => {} });
const socket = net.connect(16994, address, () => socket.write(Buffer.from('\x10\0\0\0IDER', 'binary')));
ider.parent = { xxSend: (data) => socket.write(data), Stop: () => socket.end() };
ider.iderStart = 2;
const problem = ider.diskSetup(floppy, disc);
if (problem !== 0) { throw new Error(`the images: ${problem}`); }

let input = Buffer.alloc(0);
let step = 0;
/** The next message of the beginning; null until it has come. */
const next = () => {
  const length = [13, 10][step] ?? (input.length >= 9 ? 9 + input.readUInt32LE(5) : Infinity);
  if (input.length < length) { return null; }
  const message = input.subarray(0, length);
  input = input.subarray(length);
  return message;
};
socket.on('data', (data) => {
  if (step === 4) { ider.ProcessData(data); return; }
  input = Buffer.concat([input, data]);
  for (let message = next(); message !== null && step < 4; message = step < 4 ? next() : null) {
    if (step === 0) {
      socket.write(Buffer.from([0x13, 0, 0, 0, 0, 0, 0, 0, 0]));
    } else if (step === 1) {
      socket.write(digest([user, '', '', URI, '', '', '', '']));
    } else if (step === 2) {
      const realm = message.subarray(10, 10 + message[9]).toString();
      const rest = message.subarray(10 + message[9]);
      const nonce = rest.subarray(1, 1 + rest[0]).toString();
      const response = md5(md5(user, realm, password), nonce, '00000001', 'c0ffee', 'auth', md5('POST', URI));
      socket.write(digest([user, realm, nonce, URI, 'c0ffee', '00000001', response, 'auth']));
    } else if (message[1] !== 0) {
      throw new Error('the password is wrong');
    } else {
      ider.xxStateChange(3);
    }
    step += 1;
  }
});
