-- What this user wants of others: 1 blocked, 2 muted, 3 not shown that this user is online, 4 shown, 5 sees this user also
-- while invisible. `subject` is a person's key or, if muted, perhaps a room's id.
CREATE TABLE stances (
    stance INTEGER NOT NULL,
    subject BLOB NOT NULL CHECK (length(subject) = 32),
    since_ms INTEGER NOT NULL,
    -- NULL is for ever.
    until_ms INTEGER,
    PRIMARY KEY (stance, subject)
) STRICT, WITHOUT ROWID;
