import type { ServerResponse } from 'node:http';
import type { ModelRequest } from './request.ts';
import type { Answer, Wire } from './wire.ts';

/** One answer on its way out. */
export interface Delivery {
  response: ServerResponse;
  wire: Wire;
  request: ModelRequest;
  answer: Answer;
  headers: Record<string, string>;
}

type Headers = Record<string, string>;

export function sendJson(response: ServerResponse, status: number, body: unknown, headers: Headers = {}): void {
  response.writeHead(status, { 'content-type': 'application/json', ...headers }).end(JSON.stringify(body));
}

/** The answer as the client wanted it: streamed or whole. */
export function sendWhole({ response, wire, request, answer, headers }: Delivery): void {
  if (!request.streaming) {
    sendJson(response, 200, wire.whole(answer, request), headers);
    return;
  }
  startStream(response, headers);
  for (const frame of wire.stream(answer, request)) response.write(frame);
  response.end();
}

/** Sends as much as `at` says, and leaves the connection open for ever. */
export function hang(delivery: Delivery, at: 'start' | 'headers' | 'middle'): void {
  if (at === 'headers') startStream(delivery.response, delivery.headers);
  else if (at === 'middle') sendHalf(delivery, () => {});
}

/** Sends the first half and ends; see the `cut` step for the ways. */
export function cut(delivery: Delivery, how: 'end' | 'fin' | 'rst'): void {
  const { response } = delivery;
  sendHalf(delivery, () => {
    if (how === 'end') response.end();
    // A short wait lets the half arrive first: a reset overtakes bytes that still lie in the receive buffer.
    else setTimeout(() => (how === 'rst' ? response.socket?.resetAndDestroy() : response.socket?.end()), 50);
  });
}

function startStream(response: ServerResponse, headers: Headers): void {
  response.writeHead(200, { 'content-type': 'text/event-stream', 'cache-control': 'no-cache', ...headers });
  response.flushHeaders();
}

/** The first half of an answer, and then whatever `after` does once those bytes are out. */
function sendHalf({ response, wire, request, answer, headers }: Delivery, after: () => void): void {
  if (request.streaming) {
    const frames = wire.stream(answer, request);
    startStream(response, headers);
    response.write(frames.slice(0, Math.ceil(frames.length / 2)).join(''), after);
    return;
  }
  const whole = JSON.stringify(wire.whole(answer, request));
  response.writeHead(200, { 'content-type': 'application/json', ...headers });
  response.write(whole.slice(0, whole.length / 2), after);
}
