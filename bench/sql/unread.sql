-- How much of each of a user's chats is unread, as the service asks it. -D reader.
SELECT counted.chat_id, counted.read_seq, counted.last_seq,
       counted.last_seq - counted.floor - counted.own
         - (SELECT count(*) FROM messages AS gone
            WHERE gone.chat_id = counted.chat_id AND gone.seq > counted.floor AND gone.deleted
              AND gone.user_id <> :reader::bigint)
FROM (
  SELECT mark.chat_id, mark.read_seq, c.last_seq,
         greatest(mark.read_seq, c.first_seq - 1) AS floor,
         CASE WHEN mark.own_unread > 0 AND c.first_seq - 1 > mark.read_seq
              THEN (SELECT count(*) FROM messages AS own
                    WHERE own.user_id = :reader::bigint AND own.chat_id = mark.chat_id
                      AND own.seq >= c.first_seq)
              ELSE mark.own_unread END AS own
  FROM chat_user AS mark
  JOIN chats AS c ON c.id = mark.chat_id
  WHERE mark.user_id = :reader::bigint
) AS counted
ORDER BY counted.chat_id;
