/** One side of a connection; the test plays the server. */
export class ServerSocket {
  static all: ServerSocket[] = [];
  static get last() {
    return ServerSocket.all.at(-1)!;
  }

  readyState = 0;
  sent: Record<string, unknown>[] = [];
  onopen: ((event: unknown) => void) | null = null;
  onmessage: ((event: { data: string }) => void) | null = null;
  onclose: ((event: { code: number }) => void) | null = null;

  constructor(
    readonly url: string,
    readonly protocols: string[],
  ) {
    ServerSocket.all.push(this);
  }

  send(text: string) {
    this.sent.push(JSON.parse(text));
  }

  close() {
    this.readyState = 3;
  }

  says(message: Record<string, unknown>) {
    this.onmessage?.({ data: JSON.stringify(message) });
  }

  accepts(more: Record<string, unknown> = {}) {
    this.readyState = 1;
    this.onopen?.({});
    this.says({ type: "subscribed", user: 1, expires_in: null, ...more });
  }
}

export const START = { user: "e.1", common: "c.1" };
export const presence = (user: number, is_online: boolean) => {
  return { type: "presence", user, is_online, last_seen: null };
};
