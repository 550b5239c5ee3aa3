"""Who watches: logs, recordings, latencies, health. Nothing here can hold a frame back."""
