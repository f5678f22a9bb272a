/**
 * Many events to a row (`event-batch.ts`). Who asks for single ones in SQL asks the view `events`; the bounds on
 * `session_id`, `turn` and `at` are found by the index, a bound on `seq` is not, so no reader of ours counts on it there.
 */
export const EVENT_BATCHES = `
CREATE TABLE event_batches (
  seq INTEGER PRIMARY KEY,
  session_id TEXT NOT NULL,
  turn INTEGER,
  at INTEGER NOT NULL,
  count INTEGER NOT NULL CHECK (count > 0),
  events_json TEXT NOT NULL
) STRICT;
CREATE INDEX event_batches_by_session ON event_batches(session_id);
INSERT INTO event_batches (seq, session_id, turn, at, count, events_json)
  SELECT seq, session_id, turn, at, 1, json_array(json_array(type, level, line_offset,
    CASE WHEN json_valid(data_json) THEN json(data_json) ELSE data_json END)) FROM events ORDER BY seq;
DROP TABLE events;
CREATE VIEW events AS
  SELECT b.seq - b.count + 1 + e.key AS seq, b.session_id, b.turn, e.value ->> 0 AS type, e.value ->> 1 AS level,
    e.value ->> 2 AS line_offset, e.value -> 3 AS data_json, b.at
  FROM event_batches AS b, json_each(b.events_json) AS e;
`;
