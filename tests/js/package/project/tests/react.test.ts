import type { GetToken, UserId } from "bazis-ws-channels";
import { act, createElement, StrictMode } from "react";
import { createRoot } from "react-dom/client";
import type { Root } from "react-dom/client";
import { afterEach, beforeEach, expect, it, vi } from "vitest";

import { useBazisWs } from "../src/react";
import { presence, ServerSocket, START } from "./server";

type Props = {
  watch?: UserId[];
  onData?: (data: number, replayed: boolean) => void;
  onMissed?: () => void;
  getToken?: GetToken;
  url?: string;
  position?: typeof START;
};

let shown: ReturnType<typeof useBazisWs<number>>;
let root: Root;

function Page(props: Props) {
  shown = useBazisWs<number>(props);
  return createElement("p", null, shown.state);
}

const render = (props: Props) => act(async () => root.render(createElement(Page, props)));
const says = (message: Record<string, unknown>) => act(() => ServerSocket.last.says(message));
const accepts = (more = {}) => act(() => ServerSocket.last.accepts(more));

beforeEach(() => {
  vi.stubGlobal("IS_REACT_ACT_ENVIRONMENT", true);
  vi.stubGlobal("WebSocket", ServerSocket);
  ServerSocket.all = [];
  root = createRoot(document.createElement("div"));
});
afterEach(async () => {
  await act(async () => root.unmount());
  vi.unstubAllGlobals();
});

it("gives state, data and who of the watched is online", async () => {
  await render({ watch: [2, 3] });
  expect(shown.state).toBe("connecting");
  accepts();
  expect(shown.state).toBe("live");
  expect(ServerSocket.last.sent).toEqual([{ type: "watch", users: [2, 3] }]);
  says(presence(2, true));
  says(presence(3, true));
  says(presence(3, false));
  says({ type: "data", data: 5 });
  expect(shown.online).toEqual([2]);
  expect(shown.data).toBe(5);
});

it("keeps its connection when a callback changes, and calls the newest", async () => {
  const calls: unknown[] = [];
  const getToken = (token: string) => async () => token;
  await render({ getToken: getToken("t1"), onData: (data) => calls.push(["old", data]) });
  accepts();
  await render({
    getToken: getToken("t2"),
    onData: (data, replayed) => calls.push(["new", data, replayed]),
    onMissed: () => calls.push(["missed"]),
  });
  says({ type: "data", data: 1, replayed: true });
  says({ type: "missed" });
  expect(calls).toEqual([["new", 1, true], ["missed"]]);
  await act(async () => shown.client?.renew());
  expect(ServerSocket.all.length).toBe(1);
  expect(ServerSocket.last.protocols).toEqual(["bazis-ws", "t1"]);
  expect(ServerSocket.last.sent).toEqual([{ token: "t2" }]);
});

it("calls onData for each message of one render", async () => {
  const all: number[] = [];
  await render({ onData: (data) => all.push(data) });
  accepts();
  act(() => {
    for (const data of [1, 2, 3]) ServerSocket.last.says({ type: "data", data });
  });
  expect(all).toEqual([1, 2, 3]);
  expect(shown.data).toBe(3);
});

it("follows the list of watched users, by its content", async () => {
  await render({ watch: [2] });
  accepts();
  await render({ watch: [2] });
  expect(ServerSocket.last.sent.length).toBe(1);
  await render({ watch: [3] });
  expect(ServerSocket.last.sent.slice(1)).toEqual([
    { type: "unwatch", users: [2] },
    { type: "watch", users: [3] },
  ]);
});

it("resumes on another URL, and in StrictMode, where it left off", async () => {
  const strict = (url: string) => {
    const page = createElement(Page, { url, position: START });
    return act(async () => root.render(createElement(StrictMode, null, page)));
  };
  await strict("wss://one.test/ws");
  expect(ServerSocket.all.filter(({ readyState }) => readyState < 3).length).toBe(1);
  accepts({ recovered: true, position: START });
  says({ type: "data", data: 1, position: { user: "e.2" } });
  await strict("wss://two.test/ws");
  expect(ServerSocket.last.url).toBe("wss://two.test/ws?since=e.2~c.1");
});

it("closes with its component", async () => {
  await render({});
  accepts();
  const socket = ServerSocket.last;
  await act(async () => root.render(null));
  expect(socket.readyState).toBe(3);
  expect(ServerSocket.all.length).toBe(1);
});
