// The files of a device: one folder at a time, and what is on its way.

import { useSignal } from "@preact/signals";
import { useEffect, useMemo, useRef, useState } from "preact/hooks";

import { bytes, count, dateTime, plain } from "../model/format.ts";
import { Button, Empty, Icon, Words } from "../parts/basic.tsx";
import { confirm, dialog, prompt, toast } from "../parts/dialog.tsx";
import { Check } from "../parts/field.tsx";
import { Menu } from "../parts/menu.tsx";
import { Virtual } from "../parts/virtual.tsx";
import { Curtain, Marks, useTunnel, type Seat } from "../tunnel/hooks.tsx";
import { Protocol, type Speaker, type Tunnel } from "../tunnel/tunnel.ts";
import { askClash } from "./clash.tsx";
import { dropped, type Dropped } from "./drop.ts";
import { edit, EDITED } from "./edit.tsx";
import { Queue } from "./queue.ts";
import { Files } from "./session.ts";
import { sink } from "./sink.ts";
import { Transfers } from "./transfers.tsx";
import { above, crumbs, isPlainName, join, type Entry } from "./wire.ts";

/** Time the device has for a change before the folder is read again. */
const SETTLE = 400;

export default function FilesView({ seat }: { seat: Seat }) {
  const root = seat.windows ? "" : "/";
  const tunnelOf = useRef<Tunnel | null>(null);
  const [path, setPath] = useState(root);
  const [entries, setEntries] = useState<Entry[] | null>(null);
  const [failure, setFailure] = useState("");
  const [filter, setFilter] = useState("");
  const [over, setOver] = useState(false);
  const chosen = useSignal<Set<string>>(new Set());
  const clipboard = useSignal<{ cut: boolean; folder: string; names: string[] } | null>(null);
  const chooser = useRef<HTMLInputElement>(null);
  const shown = useRef(path);

  const files = useMemo(() => {
    const clock = {
      after: (ms: number, run: () => void) => {
        const timer = setTimeout(run, ms);
        return () => clearTimeout(timer);
      },
    };
    const line = {
      say: (message: object) => tunnelOf.current?.say(message),
      send: (data: Uint8Array<ArrayBuffer>) => tunnelOf.current?.send(data),
    };
    return new Files(line, clock);
  }, []);
  const queue = useMemo(() => new Queue(files), []);

  const go = async (next: string) => {
    if (next !== shown.current) {
      // At once: what is typed while a folder comes is meant for that folder.
      setFilter("");
      chosen.value = new Set();
    }
    shown.current = next;
    try {
      const list = await files.list(next);
      if (shown.current !== next) return;
      setEntries(list);
      setFailure("");
      // A folder that is read again keeps what is chosen in it.
      const names = new Set(list.map(({ name }) => name));
      chosen.value = new Set([...chosen.value].filter((name) => names.has(name)));
    } catch (error) {
      if (shown.current !== next) return;
      setEntries([]);
      setFailure(error instanceof Error ? error.message : String(error));
      chosen.value = new Set();
    }
    setPath(next);
  };
  const refresh = () => void go(shown.current);
  const soon = () => setTimeout(refresh, SETTLE);

  const speaker = useMemo<Speaker>(
    () => ({
      opened: () => void go(shown.current),
      data: (data) => files.take(data),
      text: (text) => files.take(text),
      ended: () => files.lose(),
    }),
    [],
  );
  const start = (tunnel: Tunnel) => void tunnel.start(Protocol.files);
  const tunnel = useTunnel(seat.way, speaker, start, seat.online);
  tunnelOf.current = tunnel;
  useEffect(() => {
    files.onChange = refresh;
    files.onError = toast;
    queue.onArrival = (folder) => folder === shown.current && soon();
  });
  // What looks at a device's files wants them now.
  useEffect(() => {
    if (seat.online) start(tunnel);
  }, []);

  const { is } = tunnel.state.value;
  const open = is === "open";
  const drives = path === "" && seat.windows;
  const list = useMemo(() => sorted(entries ?? [], filter), [entries, filter]);
  const selected = list.filter(({ name }) => chosen.value.has(name));
  const [only] = selected.length === 1 ? selected : [];

  const upload = async (some: Dropped[]) => {
    if (some.length === 0) return;
    const folder = shown.current;
    const there = new Map(
      (entries ?? []).filter(({ kind }) => kind === "file").map(({ name, size }) => [name, size]),
    );
    const clashing = some.filter(({ folders, file }) => folders.length === 0 && there.has(file.name));
    const answer = clashing.length > 0 ? await askClash(clashing.map(({ file }) => file.name)) : "replace";
    if (answer === undefined) return;
    const made = new Set<string>();
    for (const { folders, file } of some) {
      let target = folder;
      for (const name of folders) {
        target = join(target, name);
        if (!made.has(target)) files.makeFolder(target);
        made.add(target);
      }
      const clashes = folders.length === 0 && there.has(file.name);
      if (clashes && answer === "skip") continue;
      queue.upload(target, file, clashes ? answer : "replace", there.get(file.name) ?? 0);
    }
    if (made.size > 0) soon();
  };
  const download = (some: Entry[]) => {
    for (const { name, size } of some.filter(({ kind }) => kind === "file")) {
      queue.download(path, name, size, () => sink(name, size));
    }
  };
  const rename = ({ name }: Entry) =>
    prompt("Rename", "Name", name, "Rename", (next) => {
      if (!isPlainName(next)) throw new Error("A name has no slashes in it.");
      if (list.some((entry) => entry.name === next))
        throw new Error("There is something of this name already.");
      files.rename(path, name, next);
      soon();
    });
  const remove = (some: Entry[]) =>
    confirm(
      some.length === 1 ? `Delete ${plain(some[0]?.name ?? "")}?` : `Delete ${count(some.length, "item")}?`,
      <p>
        {some.some(({ kind }) => kind === "folder") ? "Folders go with everything in them. " : ""}Nothing
        brings it back.
      </p>,
      "Delete",
      () => {
        files.remove(
          path,
          some.map(({ name }) => name),
        );
        soon();
      },
    );
  const paste = () => {
    const { value } = clipboard;
    if (!value) return;
    files.transfer(value.cut ? "move" : "copy", value.folder, path, value.names);
    if (value.cut) clipboard.value = null;
    soon();
  };
  const makeFolder = () =>
    prompt("New folder", "Name", "", "Make it", (name) => {
      if (!isPlainName(name)) throw new Error("A name has no slashes in it.");
      files.makeFolder(join(path, name));
      soon();
    });
  const pack = (some: Entry[]) =>
    prompt(
      "Pack into an archive",
      "Name of the archive",
      `${some.length === 1 ? (some[0]?.name ?? "files") : "files"}.zip`,
      "Pack",
      (name) => {
        if (!isPlainName(name)) throw new Error("A name has no slashes in it.");
        files.zip(
          path,
          name,
          some.map((entry) => entry.name),
        );
      },
    );
  const act = ({ kind, name, size }: Entry) => {
    if (!isPlainName(name) && kind !== "drive") toast("This name cannot be part of a path.");
    else if (kind !== "file") void go(kind === "drive" ? name : join(path, name));
    else if (size <= EDITED)
      void dialog(name, (close) => edit(files, path, name, size, close, soon), { wide: true });
    else download([{ kind, name, size, changed: 0 }]);
  };
  const usable =
    selected.length > 0 && selected.every(({ name, kind }) => kind !== "drive" && isPlainName(name));
  const keep = (cut: boolean) => {
    clipboard.value = { cut, folder: path, names: selected.map(({ name }) => name) };
    toast(
      `${count(selected.length, "item")} ready to be ${cut ? "moved" : "copied"}: open a folder and paste.`,
    );
  };

  return (
    <div class="session files">
      <div class="toolbar">
        <Button
          icon="back"
          label="Folder above"
          disabled={!open || path === root}
          onClick={() => void go(seat.windows && !path.includes("/") ? "" : above(path) || root)}
        />
        <Crumbs path={path} root={root} windows={seat.windows} go={(next) => void go(next)} />
        <Marks tunnel={tunnel} />
        <span class="grow" />
        <div class="search">
          <Icon name="search" />
          <input
            type="search"
            class="input"
            aria-label="Filter this folder"
            placeholder="Filter"
            value={filter}
            onInput={(event) => setFilter(event.currentTarget.value)}
          />
        </div>
      </div>
      <div class="toolbar" role="toolbar" aria-label="Files">
        <Button
          icon="upload"
          kind="primary"
          disabled={!open || drives}
          onClick={() => chooser.current?.click()}
        >
          Upload
        </Button>
        <input
          ref={chooser}
          type="file"
          multiple
          hidden
          aria-label="Files to upload"
          onChange={({ currentTarget }) => {
            void upload([...(currentTarget.files ?? [])].map((file) => ({ folders: [], file })));
            currentTarget.value = "";
          }}
        />
        <Button
          icon="download"
          disabled={!open || !selected.some(({ kind }) => kind === "file")}
          onClick={() => download(selected)}
        >
          Download
        </Button>
        <Button
          icon="folder-new"
          label="New folder"
          disabled={!open || drives}
          onClick={() => void makeFolder()}
        />
        <Button
          icon="edit"
          label="Rename"
          disabled={!open || !usable || !only}
          onClick={() => only && void rename(only)}
        />
        <Button
          icon="trash"
          label="Delete"
          disabled={!open || !usable}
          onClick={() => void remove(selected)}
        />
        <Menu
          label="More"
          start
          items={[
            usable && { words: "Copy", icon: "copy", run: () => keep(false) },
            usable && { words: "Cut", icon: "move", run: () => keep(true) },
            clipboard.value !== null &&
              !drives && {
                words: `Paste ${count(clipboard.value.names.length, "item")}`,
                icon: "paste",
                run: paste,
              },
            usable && { words: "Pack into a zip…", icon: "zip", run: () => void pack(selected) },
            usable &&
              only?.name.toLowerCase().endsWith(".zip") && {
                words: "Unpack here",
                icon: "zip",
                run: () => files.unzip(path, only.name),
              },
            usable &&
              only?.kind === "file" &&
              only.size <= EDITED && { words: "Edit as text", icon: "edit", run: () => act(only) },
            "line",
            { words: "Read again", icon: "restart", run: refresh },
            { words: "Disconnect", icon: "stop", run: () => tunnel.stop() },
          ]}
        />
        {selected.length > 0 && (
          <span class="small muted">
            {count(selected.length, "item")},{" "}
            {bytes(selected.reduce((sum, { kind, size }) => sum + (kind === "file" ? size : 0), 0))}
          </span>
        )}
        {files.busy.value && (
          <span class="row small" role="status">
            <span class="spinner" /> {plain(files.busy.value)}
            <Button small kind="plain" onClick={() => files.cancel()}>
              Cancel
            </Button>
          </span>
        )}
      </div>
      <div
        class={over ? "stage over" : "stage"}
        onDragOver={(event) => {
          if (!open || drives || !event.dataTransfer?.types.includes("Files")) return;
          event.preventDefault();
          setOver(true);
        }}
        onDragLeave={(event) =>
          !(event.currentTarget as Node).contains(event.relatedTarget as Node) && setOver(false)
        }
        onDrop={(event) => {
          event.preventDefault();
          setOver(false);
          if (open && !drives && event.dataTransfer) void dropped(event.dataTransfer).then(upload);
        }}
      >
        {entries !== null && (failure || list.length === 0) ? (
          <Empty
            icon={failure ? "warn" : "folder"}
            title={failure || (filter ? "Nothing fits" : "This folder is empty")}
          >
            {!failure && !filter && <p>Drop files here to upload them.</p>}
          </Empty>
        ) : (
          <Virtual
            key={path}
            rows={list.map((entry) => ({ key: entry.name, height: 40, entry }))}
            label="Files"
          >
            {({ entry }) => (
              <div class={chosen.value.has(entry.name) ? "file-row chosen" : "file-row"}>
                <Check
                  quiet
                  label={`Select ${plain(entry.name)}`}
                  checked={chosen.value.has(entry.name)}
                  onValue={(on) => {
                    const next = new Set(chosen.value);
                    if (on) next.add(entry.name);
                    else next.delete(entry.name);
                    chosen.value = next;
                  }}
                />
                <button type="button" class="name ellipsis" onClick={() => act(entry)}>
                  <Icon name={{ drive: "disk", folder: "folder", file: "file" }[entry.kind]} />
                  <Words text={entry.name} class="ellipsis" />
                </button>
                <span class="size small muted">{entry.kind === "folder" ? "" : bytes(entry.size)}</span>
                <span class="changed small muted">{dateTime(entry.changed)}</span>
              </div>
            )}
          </Virtual>
        )}
        <Curtain
          tunnel={tunnel}
          seat={seat}
          icon="files"
          action="Look at the files"
          start={() => start(tunnel)}
        />
      </div>
      <Transfers queue={queue} />
    </div>
  );
}

function sorted(entries: Entry[], filter: string): Entry[] {
  const order = { drive: 0, folder: 1, file: 2 };
  const wanted = filter.trim().toLowerCase();
  return entries
    .filter(({ name }) => name.toLowerCase().includes(wanted))
    .sort(
      (a, b) => order[a.kind] - order[b.kind] || a.name.localeCompare(b.name, undefined, { numeric: true }),
    );
}

function Crumbs({
  path,
  root,
  windows,
  go,
}: {
  path: string;
  root: string;
  windows: boolean;
  go(path: string): void;
}) {
  const parts = crumbs(path);
  return (
    <nav class="crumbs" aria-label="Path">
      <button type="button" onClick={() => go(root)}>
        {windows ? "Drives" : "/"}
      </button>
      {parts.map(({ name, path }, n) => (
        <button
          key={path}
          type="button"
          aria-current={n === parts.length - 1 ? "location" : undefined}
          onClick={() => go(path)}
        >
          <Words text={name} />
        </button>
      ))}
    </nav>
  );
}
