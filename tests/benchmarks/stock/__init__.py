"""The reference: consumer, routing and publishing call as the Channels tutorial has one write."""
