// In place of the driver through which MeshCmd reaches the firmware from within: there is none, the
// simulated firmware has an address of its own.

function lme() {
    var me = this;
    me.on = function (name, func) {
        if (name == 'error') { me.timer = setTimeout(function () { func.call(me, 'none'); }, 10); }
        return me;
    };
}

module.exports = lme;
