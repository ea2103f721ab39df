"""The application that an adoption takes over from: its models and its message query as its document
has them, on real SQLAlchemy, with tables made by the models or by real Alembic."""

import contextlib
import enum
import io
import pathlib
import tempfile
import types

import alembic.command
import alembic.config
from sqlalchemy import (Column, DateTime, Enum, ForeignKey, Integer, String, Table, create_engine,
                        desc, func)
from sqlalchemy.orm import declarative_base, relationship, sessionmaker

# The document's env.py, without the configuration of logs.
ENV_PY = """
from alembic import context

target_metadata = context.config.attributes["metadata"]

with context.config.attributes["engine"].connect() as connection:
    context.configure(connection=connection, target_metadata=target_metadata)
    with context.begin_transaction():
        context.run_migrations()
"""
SCRIPT_MAKO = '''
from alembic import op
import sqlalchemy as sa

revision = ${repr(up_revision)}
down_revision = ${repr(down_revision)}


def upgrade():
    ${upgrades if upgrades else "pass"}


def downgrade():
    ${downgrades if downgrades else "pass"}
'''


def make_models(chat_types, user_statuses):
    """The document does not name the members of its two enums, `active` aside."""
    ChatType = enum.Enum("ChatType", [(name, name) for name in chat_types])
    UserStatus = enum.Enum("UserStatus", [(name, name) for name in user_statuses])
    Base = declarative_base()

    chat_user = Table('chat_user', Base.metadata,
                      Column('user_id', Integer, ForeignKey('users.id', ondelete="CASCADE"), nullable=False),
                      Column('chat_id', Integer, ForeignKey('chats.id', ondelete="CASCADE"), nullable=False))

    class User(Base):
        __tablename__ = 'users'
        id = Column(Integer, primary_key=True, index=True)
        name = Column(String(256))
        login = Column(String(256), unique=True, nullable=False)
        password = Column(String(256))
        status = Column(Enum(UserStatus), default=list(UserStatus)[0])
        created = Column(DateTime(), server_default=func.now())
        updated = Column(DateTime(), server_default=func.now(), onupdate=func.now())
        chats = relationship('Chat', secondary=chat_user, back_populates='users')

    class Chat(Base):
        __tablename__ = 'chats'
        id = Column(Integer, primary_key=True, index=True)
        title = Column(String(256), nullable=False)
        description = Column(String(512))
        chat_type = Column(Enum(ChatType), nullable=False)
        creator_user_id = Column(Integer, nullable=False)
        created = Column(DateTime(), server_default=func.now())
        updated = Column(DateTime(), server_default=func.now(), onupdate=func.now())
        users = relationship('User', secondary=chat_user, back_populates='chats')

    class Message(Base):
        __tablename__ = 'messages'
        id = Column(Integer, primary_key=True, index=True)
        text = Column(String(1024), nullable=False)
        created = Column(DateTime(), server_default=func.now())
        updated = Column(DateTime(), server_default=func.now(), onupdate=func.now())
        user_id = Column(Integer, ForeignKey('users.id'))
        chat_id = Column(Integer, ForeignKey('chats.id', ondelete="CASCADE"))

    return types.SimpleNamespace(Base=Base, User=User, Chat=Chat, Message=Message,
                                 chat_user=chat_user, ChatType=ChatType, UserStatus=UserStatus)


class Original:
    """The application on an empty database."""

    def __init__(self, database, chat_types=("private", "group"),
                 user_statuses=("active", "blocked"), with_alembic=False):
        self.database = database
        self.models = make_models(chat_types, user_statuses)
        self.engine = create_engine(database.url, connect_args={"application_name": "original"})
        if with_alembic:
            self._run_alembic()
        else:
            self.models.Base.metadata.create_all(self.engine)
        self._sessions = sessionmaker(bind=self.engine)

    def _run_alembic(self):
        with tempfile.TemporaryDirectory() as folder:
            pathlib.Path(folder, "versions").mkdir()
            pathlib.Path(folder, "env.py").write_text(ENV_PY, encoding="utf-8")
            pathlib.Path(folder, "script.py.mako").write_text(SCRIPT_MAKO, encoding="utf-8")
            config = alembic.config.Config(stdout=io.StringIO())
            config.set_main_option("script_location", folder)
            config.attributes.update(metadata=self.models.Base.metadata, engine=self.engine)
            with contextlib.redirect_stdout(io.StringIO()):
                alembic.command.revision(config, message="first", autogenerate=True)
                alembic.command.upgrade(config, "head")

    def close(self):
        self.engine.dispose()

    def session(self):
        return self._sessions()

    def add(self, model, **fields):
        """Inserts one row and returns its id."""
        with self.session() as db:
            row = getattr(self.models, model)(**fields)
            db.add(row)
            db.commit()
            return row.id

    def add_user(self, login, **fields):
        return self.add("User", login=login, **fields)

    def add_chat(self, creator, members=(), title="a chat", chat_type=None, **fields):
        """As ChatRepository.create and add_user_to_chat do it; a member may come twice."""
        kind = self.models.ChatType[chat_type] if chat_type else list(self.models.ChatType)[0]
        chat = self.add("Chat", title=title, chat_type=kind, creator_user_id=creator, **fields)
        with self.engine.begin() as connection:
            for member in members:
                connection.execute(self.models.chat_user.insert().values(user_id=member, chat_id=chat))
        return chat

    def add_message(self, chat, user, text, **fields):
        return self.add("Message", chat_id=chat, user_id=user, text=text, **fields)

    def get_last_messages(self, chat_id, offset=0, limit=20):
        Message = self.models.Message
        with self.session() as db:
            messages = db.query(Message) .filter_by(chat_id=chat_id).order_by(desc(Message.created)).offset(offset).limit(limit).all()
            return messages

    def all_rows(self, model):
        with self.session() as db:
            rows = db.query(getattr(self.models, model)).order_by("id").all()
            db.expunge_all()
            return rows
