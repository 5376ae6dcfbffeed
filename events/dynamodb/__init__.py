"""Everything that talks to DynamoDB; `events.dao` is its interface."""
