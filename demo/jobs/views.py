"""Start the long task."""

import logging

from kombu.exceptions import OperationalError
from rest_framework import serializers
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView

from .tasks import long_task

__all__ = ["TaskView"]

log = logging.getLogger(__name__)


class TaskSerializer(serializers.Serializer):
    fail = serializers.BooleanField(default=False)


class TaskView(APIView):
    """Hand a task to the workers. It reports over the socket."""

    def post(self, request: Request) -> Response:
        serializer = TaskSerializer(data=request.data)
        serializer.is_valid(raise_exception=True)
        try:
            task = long_task.delay(request.user.pk, **serializer.validated_data)
        except OperationalError as error:
            log.warning("task not started: %s", error)
            return Response({"detail": "Tasks can't be started now, try again."}, status=503)
        return Response({"task_id": task.id}, status=202)
