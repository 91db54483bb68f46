"""API tokens have owners: the user who made them, by themselves or over another token.

What a user made who is there no more, or nobody knows who, is revoked. Tokens that were made at the
console have no owner.

Revision 0002, after 0001.
"""

import time

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """To this revision."""
    row = sa.BigInteger().with_variant(sa.Integer(), "sqlite")
    with op.batch_alter_table("api_tokens") as table:
        table.add_column(sa.Column("user_id", row, nullable=True))
        table.create_foreign_key(
            "fk_api_tokens_user", "users", ["user_id"], ["id"], ondelete="CASCADE"
        )
    connection = op.get_bind()
    users = {
        name: number for name, number in connection.execute(sa.text("SELECT name, id FROM users"))
    }
    made = connection.execute(sa.text("SELECT id, made_by FROM api_tokens ORDER BY id")).all()
    owners: dict[str, int] = {}  # of tokens
    free = {"console"}  # makers without an owner
    for token, maker in made:
        kind, _, name = maker.partition(":")
        by = name.partition(" ")[0]
        owner = users.get(name) if kind == "user" else owners.get(by) if kind == "token" else None
        if owner is not None:
            owners[str(token)] = owner
            change = "UPDATE api_tokens SET user_id = :owner WHERE id = :token"
            connection.execute(sa.text(change), {"owner": owner, "token": token})
        elif maker in free or f"{kind}:{by}" in free:
            free.add(f"token:{token}")
        else:
            change = (
                "UPDATE api_tokens SET revoked_ns = COALESCE(revoked_ns, :now) WHERE id = :token"
            )
            connection.execute(sa.text(change), {"now": time.time_ns(), "token": token})


def downgrade() -> None:
    """Back from it."""
    with op.batch_alter_table("api_tokens") as table:
        table.drop_constraint("fk_api_tokens_user", type_="foreignkey")
        table.drop_column("user_id")
