// Runs MeshCentral's own APF client module, unmodified, against an MPS port. It was written for the
// HTTP module of the agent; here it gets a TLS socket instead.
// Arguments: folder of the installed package, port, UUID, user, password.
'use strict';
const path = require('path');
const tls = require('tls');
const [folder, port, uuid, user, password] = process.argv.slice(2);

const module_ = path.join(folder, 'agents', 'modules_meshcmd', 'amt-apfclient.js');
const client = require(module_)({ debug: false }, {
  mpsurl: 'wss://127.0.0.1/apf.ashx',
  mpsuser: user,
  mpspass: password,
  mpskeepalive: 60000,
  clientuuid: uuid,
  clientname: '127.0.0.1',
  clientaddress: '127.0.0.1',
});

client.http = {
  parseUri: () => ({}),
  request: () => {
    const request = {
      end: () => {
        const options = { host: '127.0.0.1', port: Number(port), rejectUnauthorized: false };
        const socket = tls.connect(options, () => {
          const write = socket.write.bind(socket);
          // Its strings are bytes.
          socket.write = (data) => write(typeof data === 'string' ? Buffer.from(data, 'binary') : data);
          request.upgrade(null, socket, null);
        });
      },
    };
    return request;
  },
};
client.connect();
// Five: it has asked for its ports.
const timer = setInterval(() => {
  if (client.cirastate === 5) { console.log('connected'); clearInterval(timer); }
}, 50);
