# The verbs of feed-client mean the installed agent where they are not told otherwise.
export POSTURE_FEED_CLIENT_CONFIG="${POSTURE_FEED_CLIENT_CONFIG:-/etc/posture-feed/feed-client.toml}"
export POSTURE_FEED_CLIENT_DATA="${POSTURE_FEED_CLIENT_DATA:-/var/lib/posture-feed-client}"
