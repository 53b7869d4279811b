// Draws a remote desktop, off the page's thread: messages of the agent in, pixels onto the canvas
// the page handed over.

import { Screen, type Told } from "./screen.ts";

export type ToWorker = { canvas: OffscreenCanvas } | { message: ArrayBuffer } | { picture: number };

export type FromWorker =
  | { told: Told }
  /** Once a second: images drawn and bytes received since the beginning. */
  | { drawn: number; received: number }
  | { picture: number; blob: Blob };

const scope = self as unknown as {
  postMessage(message: FromWorker): void;
  onmessage: (event: MessageEvent<ToWorker>) => void;
};
let canvas: OffscreenCanvas | null = null;
let context: OffscreenCanvasRenderingContext2D | null = null;

const screen = new Screen<ImageBitmap>(
  {
    resize(width, height) {
      if (canvas) Object.assign(canvas, { width, height });
    },
    draw: (picture, x, y) => context?.drawImage(picture, x, y),
    copy(fromX, fromY, width, height, x, y) {
      if (canvas) context?.drawImage(canvas, fromX, fromY, width, height, x, y, width, height);
    },
    decode: (data, type) => createImageBitmap(new Blob([data], { type })),
  },
  (told) => scope.postMessage({ told }),
);

setInterval(() => scope.postMessage({ drawn: screen.drawn, received: screen.received }), 1000);

scope.onmessage = ({ data }) => {
  if ("message" in data) {
    screen.take(data.message);
  } else if ("canvas" in data) {
    canvas = data.canvas;
    context = canvas.getContext("2d", { alpha: false });
  } else {
    const { picture } = data;
    void canvas?.convertToBlob({ type: "image/png" }).then((blob) => scope.postMessage({ picture, blob }));
  }
};
