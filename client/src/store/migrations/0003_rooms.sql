-- `conversations.kind` 2: a room. Messages up to `read_row` were read here.
ALTER TABLE conversations ADD COLUMN read_row INTEGER NOT NULL DEFAULT 0;

-- 1 invited, 2 member, 3 owner. The member was told that messages up to `told_row` were read.
ALTER TABLE members ADD COLUMN standing INTEGER NOT NULL DEFAULT 2;
ALTER TABLE members ADD COLUMN told_row INTEGER NOT NULL DEFAULT 0;

CREATE TABLE rooms (
    conversation INTEGER NOT NULL PRIMARY KEY REFERENCES conversations (row),
    name TEXT NOT NULL,
    topic TEXT NOT NULL
) STRICT;

-- Sets of events of a room that are the past of some message: rows of messages, 8 bytes each, ascending.
CREATE TABLE views (
    row INTEGER NOT NULL PRIMARY KEY,
    hash BLOB NOT NULL UNIQUE CHECK (length(hash) = 32),
    events BLOB NOT NULL
) STRICT;

-- Who belongs to the room as such a set has it.
CREATE TABLE view_members (
    view INTEGER NOT NULL REFERENCES views (row),
    peer BLOB NOT NULL CHECK (length(peer) = 32),
    standing INTEGER NOT NULL,
    PRIMARY KEY (view, peer)
) STRICT, WITHOUT ROWID;

-- The events in a message's past, itself among them; only in rooms.
ALTER TABLE messages ADD COLUMN view INTEGER REFERENCES views (row);

CREATE INDEX messages_events ON messages (conversation) WHERE kind BETWEEN 16 AND 23;
CREATE INDEX messages_texts ON messages (conversation, row) WHERE kind = 1;

-- Removals from rooms, and whether they hold.
CREATE TABLE removals (
    event INTEGER NOT NULL PRIMARY KEY REFERENCES messages (row),
    conversation INTEGER NOT NULL REFERENCES conversations (row),
    peer BLOB NOT NULL CHECK (length(peer) = 32),
    holds INTEGER NOT NULL
) STRICT;

CREATE INDEX removals_by_peer ON removals (conversation, peer);

-- Messages of the removed that neither descend from the removal nor come before it: hidden if it holds.
CREATE TABLE shadows (
    message INTEGER NOT NULL REFERENCES messages (row),
    removal INTEGER NOT NULL REFERENCES messages (row),
    PRIMARY KEY (message, removal)
) STRICT, WITHOUT ROWID;

-- Edits, deletions and reactions, by what they change.
CREATE TABLE changes (
    target BLOB NOT NULL CHECK (length(target) = 32),
    message INTEGER NOT NULL REFERENCES messages (row),
    PRIMARY KEY (target, message)
) STRICT, WITHOUT ROWID;
