// Opens a recording in the stock session player, without a browser, and says what it made of it.
//
//     node accept.js <folder of the stock server> <recording>
//
// The player's own page script runs here; only what a browser would give it is replaced. Prints one
// line of JSON: whether the file was accepted, its metadata, what was written to the terminal,
// which tiles were drawn on which canvas, whether the end was reached, and, with an index, what is
// drawn after each jump.
'use strict';

const fs = require('fs');
const path = require('path');
const vm = require('vm');

const [server, recording] = process.argv.slice(2);
const read = (...parts) => fs.readFileSync(path.join(server, ...parts), 'utf8');
const bytes = fs.readFileSync(recording);
const result = { accepted: false, finished: false, terminal: '', tiles: [], complaints: [] };

class File {
    constructor(name, start = 0, end = bytes.length) {
        Object.assign(this, { name, start, end, type: '', size: end - start });
    }
    slice(from, to) { return new File(this.name, this.start + from, this.start + to); }
}

class FileReader {
    readAsBinaryString(file) {
        const text = bytes.subarray(file.start, file.end).toString('latin1');
        setImmediate(() => this.onload({ target: { result: text } }));
    }
}

// An image is "decoded" as soon as it has bytes; its size is not needed to draw it.
class Image {
    set src(url) {
        this.data = Buffer.from(url.slice(url.indexOf(',') + 1), 'base64');
        setImmediate(() => this.onload());
    }
}

class Terminal {
    open() { }
    resize() { }
    dispose() { }
    write(data) { result.terminal += data; }
}

const canvas = new Proxy({}, {
    get: (_, name) => name === 'drawImage'
        ? (image, x, y) => result.tiles.push([x, y, image.data.length])
        : () => { },
    set: () => true,
});
const elements = {};
function element(id) {
    return elements[id] ??= {
        id, style: {}, value: '1', innerHTML: '', width: 640, height: 480, disabled: false,
        clientWidth: 640, clientHeight: 480, offsetWidth: 640,
        blur() { }, focus() { }, getContext: () => canvas, classList: { add() { }, remove() { } },
        addEventListener() { }, removeEventListener() { },
    };
}

const page = {
    console: { log: (...words) => result.complaints.push(words.join(' ')) },
    document: {
        getElementById: element, body: element('body'), addEventListener() { }, cookie: '',
        getElementsByTagName: () => [], createElement: element, documentElement: element('html'),
    },
    navigator: { userAgent: 'test', platform: 'Linux', appVersion: '' },
    location: { protocol: 'https:', host: 'localhost', search: '', href: 'https://localhost/' },
    // Playing takes no time.
    setTimeout: (run) => setImmediate(run), clearTimeout() { }, setInterval() { },
    btoa: (text) => Buffer.from(text, 'latin1').toString('base64'),
    FileReader, Image, Terminal,
};
page.document.location = page.location;
page.window = page;
page.self = page;
vm.createContext(page);
vm.runInContext(read('public', 'scripts', 'common-0.0.1.js'), page);
vm.runInContext(read('public', 'scripts', 'agent-desktop-0.0.2.js'), page);
const html = read('views', 'player.handlebars');
const script = html.slice(html.lastIndexOf('<script>') + 8, html.lastIndexOf('</script>'));
vm.runInContext(script.replace(/\{\{\{?\w+\}?\}\}/g, ''), page);

// Until nothing more happens: every step of the player is an immediate.
const settle = async (done) => {
    for (let idle = 0; !done() && idle < 100000; idle++) await new Promise(setImmediate);
};

(async () => {
    result.complaints = [];
    page.ondrop({
        dataTransfer: { files: [new File('recording.mcrec')] },
        preventDefault() { }, stopPropagation() { },
    });
    await settle(() => page.recFileMetadata != null);
    result.accepted = page.recFileMetadata != null && page.recFileEndTime != 0;
    result.metadata = page.recFileMetadata;
    if (result.accepted) {
        page.play();
        await settle(() => page.playing === false);
        await settle(() => page.agentDesktop == null || page.agentDesktop.tilesReceived === 0);
        result.finished = page.recFilePtr === bytes.length;
        result.jumps = [];
        for (const number in (page.recFileMetadata.indexes ?? [])) {
            result.tiles = [...result.tiles];
            const before = result.tiles.length;
            let shown = false;
            page.pause();
            page.SeekIndexPtr = 0;
            page.seek(Number(number));
            await settle(() => page.SeekIndex[page.SeekIndexPtr] == null);
            await settle(() => (shown = page.agentDesktop.tilesReceived === 0));
            result.jumps.push(shown ? result.tiles.slice(before) : null);
            result.tiles.length = before;
        }
    }
    process.stdout.write(JSON.stringify(result) + '\n');
})();
