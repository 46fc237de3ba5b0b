from asgiref.sync import sync_to_async

from tests.clients import Client, until


async def test_smoke(daphne, alice, redis):
    server = await sync_to_async(daphne)()
    async with Client(server.ws, alice.ws_token()) as c:
        print(await c.subscribed())
        assert await sync_to_async(alice.ws_publish)({"a": 1}) == 1
        assert await c.data() == {"a": 1}
        assert await sync_to_async(lambda: alice.is_online)()
        await c.send({"type": "watch", "users": [alice.pk]})
        print(await c.receive_type("presence"))
        print(redis.keys("*"))
    await until(sync_to_async(lambda: not alice.is_online))
    print(server.log)
