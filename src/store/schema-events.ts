/**
 * Many events to a row (`event-batch.ts`), and the view `events` for whoever asks for single ones in SQL. The view finds
 * `session_id` by the index and `turn` and `at` without opening a row; a bound on `seq` it applies to every event of the
 * session, so those who follow a stream ask the table.
 *
 * The trigger is for a supervisor of the version before that is still at work while a newer verb migrates: what it
 * writes goes on arriving.
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
  SELECT b.seq - b.count + 1 + json_each.key AS seq, b.session_id, b.turn, json_each.value ->> 0 AS type,
    json_each.value ->> 1 AS level, json_each.value ->> 2 AS line_offset, json_each.value -> 3 AS data_json, b.at
  FROM event_batches AS b, json_each(b.events_json);
CREATE TRIGGER events_one_by_one INSTEAD OF INSERT ON events BEGIN
  INSERT INTO event_batches (seq, session_id, turn, at, count, events_json)
    SELECT coalesce(max(seq), 0) + 1, NEW.session_id, NEW.turn, NEW.at, 1,
      json_array(json_array(NEW.type, NEW.level, NEW.line_offset, json(NEW.data_json))) FROM event_batches;
END;
`;
