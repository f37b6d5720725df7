# The verbs of feed-server mean the installed mirror where they are not told otherwise.
export POSTURE_FEED_SERVER_CONFIG="${POSTURE_FEED_SERVER_CONFIG:-/etc/posture-feed/feed-server.toml}"
