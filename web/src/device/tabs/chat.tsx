// Talking to the person at a device.

import { useEffect, useState } from "preact/hooks";

import { useFrames } from "../../app/hooks.ts";
import type { DeviceTabProps } from "../../app/registry.ts";
import { client } from "../../app/state.ts";
import { conversation } from "../../chat/conversations.ts";
import { Conversation } from "../../chat/view.tsx";
import { plain } from "../../model/format.ts";
import { Button, Empty, Notice } from "../../parts/basic.tsx";
import { attempt } from "../../parts/dialog.tsx";

export default function ChatTab({ device }: DeviceTabProps) {
  const { _id: nodeid, name } = device;
  const online = ((device.conn ?? 0) & 1) !== 0;
  const { chat, shown } = conversation(nodeid, name);
  const [nobody, setNobody] = useState(false);
  useEffect(() => {
    shown.value = true;
    return () => void (shown.value = false);
  }, [nodeid]);
  useFrames(
    "msg",
    (frame) => {
      if (frame["type"] === "openUrl" && frame["nodeid"] === nodeid) setNobody(frame["success"] === false);
    },
    [nodeid],
  );
  const call = () => {
    setNobody(false);
    chat.start();
    void attempt(() => client.ask("meshmessenger", { nodeid }));
  };
  if (chat.presence.value.is === "idle" && chat.entries.value.length === 0) {
    return (
      <Empty icon="chat" title={`Talk to the person at ${plain(name)}`}>
        <p>A page opens on their screen. They need no account.</p>
        <Button kind="primary" icon="chat" disabled={!online} onClick={call}>
          {online ? "Ask to talk" : "The device is offline"}
        </Button>
      </Empty>
    );
  }
  return (
    <>
      {nobody && (
        <Notice kind="warn">The page could not be opened there: nobody seems to be at the screen.</Notice>
      )}
      <Conversation chat={chat} name={name} {...(online ? { again: call } : {})} />
    </>
  );
}
