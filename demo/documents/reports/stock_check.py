"""Lists products whose stock is below what four weeks usually sell."""

WEEKS = 4


def running_low(products):
    return [product for product in products if product.stock < product.sold_per_week * WEEKS]
