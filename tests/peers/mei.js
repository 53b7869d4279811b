// The driver of Intel AMT on a simulated computer, for MeshCmd: what the firmware is stands in
// computer.json, which the simulated firmware writes.

var fs = require('fs');

function write(computer) { fs.writeFileSync('computer.json', JSON.stringify(computer)); }
function read() { return JSON.parse(fs.readFileSync('computer.json').toString()); }

function mei() {
    var me = this;
    var answer = function (func, value) { if (func) { func.call(me, value); } };
    me.on = function () { return me; };
    me.getVersion = function (func) {
        var version = read().version.split('.').slice(0, 3).join('.');
        answer(func, { Versions: [{ Description: 'AMT', Version: version }, { Description: 'Sku', Version: '16392' }] });
    };
    me.getProtocolVersion = function (func) { answer(func, '1:0'); };
    me.getProvisioningMode = function (func) { answer(func, { mode: 1 }); };
    me.getProvisioningState = function (func) { answer(func, { state: read().state }); };
    me.getEHBCState = function (func) { answer(func, { EHBC: false }); };
    me.getControlMode = function (func) { answer(func, { controlMode: read().mode }); };
    me.getLanInterfaceSettings = function (n, func) { answer(func, null); };
    me.getUuid = function (func) { answer(func, { uuid: read().uuid }); };
    me.getLocalSystemAccount = function (func) { var c = read(); answer(func, { user: c.user, pass: c.password }); };
    me.getDnsSuffix = function (func) { answer(func, read().suffix); };
    me.getHashHandles = function (func) { answer(func, [1]); };
    me.getCertHashEntry = function (handle, func) {
        answer(func, {
            isDefault: 1, isActive: 1, hashAlgorithm: 2, hashAlgorithmStr: 'SHA256',
            hashAlgorithmSize: 32, certificateHash: read().root, name: 'A root'
        });
    };
    // 0: something was begun; 3: nothing was, which is the usual answer.
    me.stopConfiguration = function (func) {
        var computer = read(), begun = computer.expects;
        if (begun) { delete computer.expects; computer.state = 0; write(computer); }
        answer(func, begun ? 0 : 3);
    };
    // As the driver of the package, but for its pause of 20 s after something was stopped.
    me.startConfigurationHBased = function (hash, vpn, suffixes, func) {
        me.stopConfiguration(function () {
            var computer = read();
            if (!computer.shown) { func({ status: 36 }); return; }
            computer.expects = hash.toString('hex');
            computer.state = 1;
            write(computer);
            func({ status: 0, hash: computer.shown });
        });
    };
    me.unprovision = function (mode, func) {
        var computer = read();
        if (computer.mode != 1) { answer(func, 16); return; }
        computer.mode = computer.state = 0;
        write(computer);
        answer(func, 0);
    };
}

module.exports = mei;
