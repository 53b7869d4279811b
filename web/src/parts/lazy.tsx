// Parts that are fetched when they are first shown.

import { Component, type ComponentType, type VNode } from "preact";
import { useEffect, useState } from "preact/hooks";

import { Button, Empty, Waiting } from "./basic.tsx";

/** A component that is fetched when it is first shown. */
export function lazy<Props extends object>(
  load: () => Promise<{ default: ComponentType<Props> }>,
): ComponentType<Props> {
  let Part: ComponentType<Props> | null = null;
  return function Lazy(props: Props) {
    const [, changed] = useState(0);
    const [failed, setFailed] = useState(false);
    useEffect(() => {
      if (Part !== null || failed) return;
      load().then(
        (module) => {
          Part = module.default;
          changed((n) => n + 1);
        },
        () => setFailed(true),
      );
    }, [failed]);
    if (Part !== null) return <Part {...props} />;
    return failed ? <NotLoaded /> : <Waiting />;
  };
}

function NotLoaded() {
  return (
    <Empty icon="warn" title="This part could not be loaded">
      <p>The server may have been updated meanwhile.</p>
      <Button onClick={() => location.reload()}>Load the page again</Button>
    </Empty>
  );
}

/** Keeps a mistake in one part of the page from taking the rest with it. */
export class Fence extends Component<{ children: VNode }, { broken: string | null }> {
  override state = { broken: null };

  static override getDerivedStateFromError(error: unknown) {
    return { broken: error instanceof Error ? error.message : String(error) };
  }

  override componentDidCatch(error: unknown) {
    console.error(error);
  }

  render() {
    if (this.state.broken === null) return this.props.children;
    return (
      <Empty icon="warn" title="This part of the page broke">
        <p class="small">{this.state.broken}</p>
        <Button onClick={() => this.setState({ broken: null })}>Try again</Button>
      </Empty>
    );
  }
}
