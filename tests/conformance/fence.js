// Preloaded into meshctrl for requests that get no answer: without it, meshctrl waits for ever.
//
// Behind meshctrl's own request goes a question that is always answered, after a look into the
// server's database. Requests are performed in order, and one that is answered at all is answered
// after at most two such looks: who has heard nothing after the third hears nothing any more.

const WebSocket = require(process.env.FENCE_WS);
const question = JSON.stringify({ action: 'nodes', responseid: 'fence' });
const deliver = WebSocket.prototype.emit;
let rounds = 3;

WebSocket.prototype.emit = function (event, ...args) {
    if (event === 'message' && JSON.parse(args[0]).responseid === 'fence') {
        if (--rounds === 0) { console.log('(no answer)'); process.exit(); }
        this.send(question);
        return true;
    }
    const delivered = deliver.call(this, event, ...args);
    if (event === 'open') { this.send(question); }
    return delivered;
};
