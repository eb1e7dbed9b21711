"""The sensor that delivers notifications. Thin: what is due, in which order and how often is for ``resources.outbox``."""

from dagster import DefaultSensorStatus, SensorDefinition, SensorEvaluationContext, SkipReason

from resources.platform import Platform

MESSAGES_PER_TICK = 20
SECONDS_PER_TICK = 10.0
"""No message is begun later than this, and one takes at most eight seconds: a tick ends in less than twenty."""


def deliver_notifications(context: SensorEvaluationContext) -> SkipReason:
    """One tick: send what is due. It starts no run, so its answer is always a reason for that."""
    platform: Platform = context.resources.platform
    report = platform.outbox.deliver(limit=MESSAGES_PER_TICK, seconds=SECONDS_PER_TICK)
    for delivery in report.held_up:
        context.log.warning(f"{delivery.name}: {delivery.reason}; next attempt at {delivery.due_at:%H:%M:%S} UTC")
    for ended in report.ended:
        context.log.error(f"{ended.notification_id} through {ended.channel}: {ended.state}: {ended.reason}")
    return SkipReason(str(report) if report.delivered or report.waiting or report.ended else "no notification is waiting")


notification_sensor = SensorDefinition(
    name="notification_sensor",
    evaluation_fn=deliver_notifications,
    minimum_interval_seconds=10,
    default_status=DefaultSensorStatus.RUNNING,
    required_resource_keys={"platform"},
    description="Delivers notifications to Slack, e-mail, PagerDuty and alert issues, and tries again what was not taken.",
)
