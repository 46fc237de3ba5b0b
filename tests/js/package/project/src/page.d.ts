/** What the snippets of docs/client.md take for granted: functions of the reader's page. */

declare function showOrders(orders: unknown): void;
declare function addOrder(order: unknown): void;
declare function loadOrders(): Promise<unknown>;
