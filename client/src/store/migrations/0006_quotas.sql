-- How much is kept of a conversation: the signed bytes of its delivered messages.
ALTER TABLE conversations ADD COLUMN bytes INTEGER NOT NULL DEFAULT 0;

UPDATE conversations SET bytes =
    (SELECT coalesce(sum(length(m.signed)), 0) FROM messages m WHERE m.conversation = conversations.row);
