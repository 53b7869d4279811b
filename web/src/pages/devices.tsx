// The list everything begins with.

import { signal } from "@preact/signals";
import { useEffect, useMemo, useRef, useState } from "preact/hooks";

import { arrange, type ListRow } from "../app/arrange.ts";
import { useKeys } from "../app/keys.ts";
import { prefs, setPrefs } from "../app/prefs.ts";
import type { PageProps } from "../app/registry.ts";
import { go, setQuery, to } from "../app/router.ts";
import { store } from "../app/state.ts";
import { groupRights, groupsWith } from "../app/visible.ts";
import { short, type Device } from "../control/wire.ts";
import { Bulk, deviceMenu } from "../device/actions.tsx";
import { count, grouped, plain, state, stateWords, systemName } from "../model/format.ts";
import { has, Right } from "../model/rights.ts";
import {
  Ago,
  Badge,
  Button,
  Dot,
  Empty,
  Icon,
  Picture,
  SystemIcon,
  Waiting,
  Words,
} from "../parts/basic.tsx";
import { Check, Segments } from "../parts/field.tsx";
import { Menu } from "../parts/menu.tsx";
import { Virtual, type VirtualHandle } from "../parts/virtual.tsx";

const phone = matchMedia("(max-width: 52rem)");
const narrow = signal(phone.matches);
phone.addEventListener("change", () => (narrow.value = phone.matches));

const selected = signal<ReadonlySet<string>>(new Set());
const cursor = signal("");

const TILE = { height: 92, width: 290 };

export default function Devices({ query }: PageProps) {
  const { view, sort, density, folded } = prefs.value;
  const filter = query.get("filter") ?? "";
  const [width, setWidth] = useState(innerWidth);
  const frame = useRef<HTMLDivElement>(null);
  const handle = useRef<VirtualHandle>(null);

  useEffect(() => {
    const watch = new ResizeObserver(([entry]) => setWidth(entry?.contentRect.width ?? innerWidth));
    watch.observe(frame.current as HTMLDivElement);
    return () => watch.disconnect();
  }, []);

  const rowHeight = narrow.value ? 60 : density === "compact" ? 38 : 52;
  const columns = Math.max(1, Math.floor(width / TILE.width));
  const arranged = useMemo(
    () =>
      arrange([...store.devices.values()], store.groups, store.lastSeen, {
        filter,
        sort,
        view,
        folded: new Set(folded),
        columns,
        rowHeight,
        tileHeight: TILE.height,
      }),
    [store.changes.devices.value, store.changes.groups.value, filter, sort, view, folded, columns, rowHeight],
  );
  const chosen = arranged.devices.filter((device) => selected.value.has(device._id));
  useListKeys(arranged, handle, filter);

  const online = useMemo(
    () => [...store.devices.values()].filter((device) => state(device) === "on").length,
    [store.changes.devices.value],
  );
  return (
    <div class="page full">
      <div class="page-head">
        <h1>Devices</h1>
        <span class="muted" role="status">
          {summary(arranged.matching, online, filter)}
        </span>
      </div>
      <Toolbar filter={filter} chosen={chosen} shown={arranged.devices} />
      <div class={chosen.length > 0 ? "list-frame selecting" : "list-frame"} ref={frame}>
        {!store.loaded.value ? (
          <div class="grow">
            <Waiting rows={4} />
          </div>
        ) : arranged.rows.length === 0 ? (
          <Nothing filter={filter} />
        ) : (
          <Virtual rows={arranged.rows} label="Devices" foot={chosen.length > 0 ? 96 : 32} handle={handle}>
            {(row) => <Line row={row} columns={columns} />}
          </Virtual>
        )}
        {chosen.length > 0 && <Bulk devices={chosen} onClear={() => (selected.value = new Set())} />}
      </div>
    </div>
  );
}

function summary(matching: number, online: number, filter: string): string {
  if (!store.loaded.value) return "";
  if (filter.trim() !== "") return `${matching} of ${count(store.devices.size, "device")}`;
  return store.devices.size === 0 ? "" : `${grouped(online)} of ${grouped(store.devices.size)} online`;
}

function useListKeys(
  arranged: { devices: Device[]; places: Map<string, number> },
  handle: { current: VirtualHandle | null },
  filter: string,
) {
  const move = (step: number) => {
    // What is folded up cannot be stood on.
    const there = arranged.devices.filter((device) => arranged.places.has(device._id));
    const at = there.findIndex((device) => device._id === cursor.value);
    const next = there[at < 0 ? 0 : Math.max(0, Math.min(there.length - 1, at + step))];
    if (!next) return;
    cursor.value = next._id;
    handle.current?.reveal(arranged.places.get(next._id) ?? 0);
  };
  useKeys({
    j: () => move(1),
    k: () => move(-1),
    ArrowDown: () => move(1),
    ArrowUp: () => move(-1),
    Enter: () => cursor.value && go("device", short(cursor.value)),
    x: () => cursor.value && toggle(cursor.value),
    Escape: () => {
      if (selected.value.size > 0) selected.value = new Set();
      else if (filter) setQuery("filter", "");
      else cursor.value = "";
    },
  });
}

function toggle(id: string): void {
  const next = new Set(selected.value);
  if (!next.delete(id)) next.add(id);
  selected.value = next;
}

function Toolbar({ filter, chosen, shown }: { filter: string; chosen: Device[]; shown: Device[] }) {
  const { view, sort } = prefs.value;
  const all = chosen.length > 0 && chosen.length === shown.length;
  const sorts = { name: "Name", state: "State", system: "System", seen: "Last seen" } as const;
  return (
    <div class="toolbar">
      <div class="search" role="search">
        <Icon name="search" />
        <input
          type="search"
          class="input"
          aria-label="Search devices"
          placeholder="Search: name, tag:, group:, os:, agent:offline …"
          value={filter}
          autocomplete="off"
          spellcheck={false}
          onInput={(event) => setQuery("filter", event.currentTarget.value)}
          onKeyDown={(event) => {
            if (event.key !== "Escape" && event.key !== "Enter") return;
            if (event.key === "Escape" && filter) setQuery("filter", "");
            else event.currentTarget.blur();
            event.stopPropagation();
          }}
        />
        <span class="after">
          {filter ? (
            <Button
              icon="close"
              kind="plain"
              small
              label="Clear the search"
              onClick={() => setQuery("filter", "")}
            />
          ) : (
            !narrow.value && <kbd>/</kbd>
          )}
        </span>
      </div>
      <Menu
        label="Sort and select"
        icon="more"
        items={[
          ...(Object.keys(sorts) as (keyof typeof sorts)[]).map((value) => ({
            words: `By ${sorts[value].toLowerCase()}`,
            checked: sort === value,
            run: () => setPrefs({ sort: value }),
          })),
          "line",
          {
            words: all ? "Select none" : "Select all shown",
            icon: "check",
            run: () => (selected.value = all ? new Set() : new Set(shown.map((device) => device._id))),
          },
        ]}
      />
      <Segments
        label="View"
        value={view}
        onValue={(view) => setPrefs({ view })}
        options={[
          { value: "list", icon: "list", label: "List" },
          { value: "tiles", icon: "tiles", label: "Tiles" },
        ]}
      />
      {groupsWith(Right.manageDevices).length > 0 && (
        <Button
          kind="primary"
          icon="plus"
          label={narrow.value ? "Add device" : undefined}
          onClick={() => go("add")}
        >
          {narrow.value ? undefined : "Add device"}
        </Button>
      )}
    </div>
  );
}

function Nothing({ filter }: { filter: string }) {
  if (filter.trim() !== "") {
    return (
      <div class="grow">
        <Empty icon="search" title="Nothing fits">
          <p>No device matches “{plain(filter)}”.</p>
          <Button onClick={() => setQuery("filter", "")}>Show all</Button>
        </Empty>
      </div>
    );
  }
  return (
    <div class="grow">
      <Empty icon="devices" title="No devices yet">
        <p>Devices are kept in groups. Make a group, then install the agent on the first device.</p>
        <Button kind="primary" icon="plus" onClick={() => go("groups")}>
          Make a group
        </Button>
      </Empty>
    </div>
  );
}

function Line({ row, columns }: { row: ListRow; columns: number }) {
  switch (row.kind) {
    case "group":
      return <GroupLine row={row} />;
    case "device":
      return <DeviceLine device={row.device} first={row.first} last={row.last} />;
    case "tiles":
      return (
        <div
          class="tile-row"
          style={{ gridTemplateColumns: `repeat(${columns}, minmax(0, 1fr))`, height: "100%" }}
        >
          {row.devices.map((device) => (
            <Tile key={device._id} device={device} />
          ))}
        </div>
      );
  }
}

function GroupLine({ row }: { row: Extract<ListRow, { kind: "group" }> }) {
  const fold = () => {
    const { folded } = prefs.peek();
    setPrefs({ folded: row.folded ? folded.filter((id) => id !== row.id) : [...folded, row.id] });
  };
  return (
    <div class="group-row">
      <button
        type="button"
        class="fold"
        aria-expanded={!row.folded}
        aria-label={`${row.folded ? "Unfold" : "Fold"} ${plain(row.name)}`}
        onClick={fold}
      >
        <Icon name="down" />
      </button>
      <h2 class="ellipsis">
        {row.group ? (
          <a href={to("group", short(row.id))}>
            <Words text={row.name} />
          </a>
        ) : (
          row.name
        )}
      </h2>
      <span class="count">{row.count === 0 ? "no devices" : `${row.online} of ${row.count}`}</span>
      {row.count === 0 && row.group && has(groupRights(row.group), Right.manageDevices) && (
        <a class="small add" href={to("add", short(row.id))}>
          Add the first
        </a>
      )}
    </div>
  );
}

function lineClass(base: string, id: string, ...more: (string | false)[]): string {
  const states = [selected.value.has(id) && "selected", cursor.value === id && "cursor"];
  return [base, ...states, ...more].filter(Boolean).join(" ");
}

function Seen({ device }: { device: Device }) {
  if (state(device) === "on") {
    const [user] = device.users ?? [];
    return user ? <Words text={user} class="ellipsis" /> : <span>Online</span>;
  }
  if (state(device) !== "off") return <span>{stateWords(device).split(",")[0]}</span>;
  const time = store.lastSeen.get(device._id);
  return time ? <Ago time={time} /> : <span>Offline</span>;
}

function DeviceLine({ device, first, last }: { device: Device; first: boolean; last: boolean }) {
  const href = to("device", short(device._id));
  const sessions = Object.keys(device.sessions ?? {}).length > 0;
  return (
    <div
      class={lineClass("device-row", device._id, first && "first-row", last && "last-row")}
      onClick={(event) => {
        const inner = (event.target as HTMLElement).closest("a, button, label");
        if (inner) return;
        if (event.ctrlKey || event.metaKey || event.shiftKey) toggle(device._id);
        else location.hash = href;
      }}
    >
      <Check
        quiet
        label={`Select ${plain(device.name)}`}
        checked={selected.value.has(device._id)}
        onValue={() => toggle(device._id)}
      />
      {!narrow.value && (
        <span class="system">
          <SystemIcon device={device} />
        </span>
      )}
      {narrow.value && <Dot device={device} />}
      <div class="grow">
        <div class="name">
          {!narrow.value && <Dot device={device} />}
          <a class="ellipsis" href={href}>
            <Words text={device.name} />
          </a>
          {sessions && <Badge kind="accent">in use</Badge>}
        </div>
        {narrow.value && <div class="small muted ellipsis">{plain(systemName(device))}</div>}
      </div>
      <div class="tags">
        {device.tags?.slice(0, 4).map((tag) => (
          <Badge key={tag}>
            <Words text={tag} class="ellipsis" />
          </Badge>
        ))}
      </div>
      <Words class="cell os ellipsis" text={systemName(device)} />
      <Words class="cell address ellipsis" text={device.ip ?? device.host ?? ""} />
      <span class="cell ellipsis">
        <Seen device={device} />
      </span>
      <Menu
        label={`Actions for ${plain(device.name)}`}
        kind="plain"
        small
        items={[narrow.value && selectItem(device), ...deviceMenu(device)]}
      />
    </div>
  );
}

/** On a phone the boxes appear with the first selection, which begins here. */
function selectItem({ _id }: Device) {
  return {
    words: selected.value.has(_id) ? "Select no more" : "Select",
    icon: "check",
    run: () => toggle(_id),
  };
}

function Tile({ device }: { device: Device }) {
  const href = to("device", short(device._id));
  return (
    <div
      class={lineClass("tile", device._id)}
      onClick={(event) => {
        if ((event.target as HTMLElement).closest("a, button, label")) return;
        if (event.ctrlKey || event.metaKey || event.shiftKey || selected.value.size > 0) toggle(device._id);
        else location.hash = href;
      }}
    >
      <span class="emblem">
        <Picture device={device} />
        <Dot device={device} />
      </span>
      <div class="grow">
        <a class="ellipsis" href={href}>
          <Words text={device.name} />
        </a>
        <div class="small muted ellipsis">{plain(systemName(device)) || "Unknown system"}</div>
        <div class="small faint ellipsis">
          <Seen device={device} />
        </div>
      </div>
      <Menu label={`Actions for ${plain(device.name)}`} kind="plain" small items={deviceMenu(device)} />
    </div>
  );
}
