from __future__ import annotations

from django.db import migrations, models
from django.db.models.functions import Now


class Migration(migrations.Migration):
    """Wallets that are linked already are paid from now on."""

    dependencies = [("accounts", "0001_initial")]

    operations = [
        migrations.AddField(
            model_name="wallet",
            name="paid_from",
            field=models.DateTimeField(
                db_default=Now(),
                help_text=(
                    "No money goes to it before; later than the link where it was added to an"
                    " account."
                ),
            ),
        ),
    ]
