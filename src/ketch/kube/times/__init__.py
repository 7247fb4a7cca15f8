"""Times as users write them: durations as Go has them, and schedules as cron has them. Pure."""
