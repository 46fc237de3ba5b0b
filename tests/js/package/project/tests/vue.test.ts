import { afterEach, beforeEach, expect, it, vi } from "vitest";
import { createApp, defineComponent, h, nextTick, ref } from "vue";
import type { App } from "vue";

import { useBazisWs } from "../src/vue";
import { presence, ServerSocket, START } from "./server";

type Settings = Parameters<typeof useBazisWs<number>>[0];

let app: App;
let shown: ReturnType<typeof useBazisWs<number>>;

function mount(settings: Settings) {
  const Page = defineComponent(() => {
    shown = useBazisWs<number>(settings);
    return () => h("p", `${shown.state.value} ${shown.online.value.join()} ${shown.data.value}`);
  });
  const element = document.createElement("div");
  app = createApp(Page);
  app.mount(element);
  return element;
}

beforeEach(() => {
  vi.stubGlobal("WebSocket", ServerSocket);
  ServerSocket.all = [];
});
afterEach(() => {
  app.unmount();
  vi.unstubAllGlobals();
});

it("gives state, data and who of the watched is online", async () => {
  const element = mount({ watch: [2, 3] });
  expect(shown.state.value).toBe("connecting");
  ServerSocket.last.accepts();
  ServerSocket.last.says(presence(2, true));
  ServerSocket.last.says(presence(3, false));
  ServerSocket.last.says({ type: "data", data: 5 });
  await nextTick();
  expect(element.textContent).toBe("live 2 5");
});

it("keeps its connection when a callback changes, and calls the newest", async () => {
  const calls: unknown[] = [];
  const settings: Settings = { getToken: async () => "t1", onData: () => calls.push("old") };
  mount(settings);
  await vi.waitFor(() => expect(ServerSocket.all.length).toBe(1));
  ServerSocket.last.accepts();
  settings.onData = (data, replayed) => calls.push([data, replayed]);
  settings.onMissed = () => calls.push("missed");
  settings.getToken = async () => "t2";
  ServerSocket.last.says({ type: "data", data: 1, replayed: true });
  ServerSocket.last.says({ type: "missed" });
  expect(calls).toEqual([[1, true], "missed"]);
  shown.client.renew();
  await vi.waitFor(() => expect(ServerSocket.last.sent).toEqual([{ token: "t2" }]));
  expect(ServerSocket.all.length).toBe(1);
});

it("follows the list of watched users", async () => {
  const users = ref([2, 3]);
  mount({ watch: users, position: START });
  expect(ServerSocket.last.url).toMatch(/[?]since=e\.1~c\.1$/);
  ServerSocket.last.accepts();
  users.value.push(4);
  await nextTick();
  users.value = [4];
  await nextTick();
  expect(ServerSocket.last.sent.slice(1)).toEqual([
    { type: "watch", users: [4] },
    { type: "unwatch", users: [2, 3] },
  ]);
});

it("closes with its component", () => {
  mount({});
  ServerSocket.last.accepts();
  app.unmount();
  expect(ServerSocket.last.readyState).toBe(3);
});
