-- One message, one row, one commit: what a service without batches would do at best. It keeps no
-- own_unread. -D first, -D last: the chats, at random; the sender is one of the 20 of prepare.sql.
\set chat random(:first, :last)
\set member random(1, 20)
\set sender (:chat * 7 + :member * 13) % 2000 + 1
WITH sender AS (
  SELECT 1
  FROM chat_user AS member
  JOIN users AS u ON u.id = member.user_id
  WHERE member.chat_id = :chat::bigint AND member.user_id = :sender::bigint
    AND u.status = 'active'
), advanced AS (
  UPDATE chats
  SET last_seq = last_seq + 1, last_sent_at = greatest(last_sent_at, now())
  WHERE id = :chat::bigint AND EXISTS (SELECT 1 FROM sender)
  RETURNING last_seq, last_sent_at
)
INSERT INTO messages (chat_id, seq, user_id, text, search, created_at, updated_at)
SELECT :chat::bigint, last_seq, :sender::bigint,
       'hello this is a bench message number ' || :member,
       to_tsvector('simple', 'hello this is a bench message number ' || :member),
       last_sent_at, last_sent_at
FROM advanced
RETURNING seq, id;
